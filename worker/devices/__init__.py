"""The node's accelerators. base.py is the protocol, one file per vendor; `mock` is for planning and tests."""
