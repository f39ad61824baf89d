"""What a session runs in. base.py is the protocol; process.py and its supervisor are the first; containers come later."""
