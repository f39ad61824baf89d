"""Where a session may go, as pure arithmetic: what nodes have, what is booked on them, who refuses and why, who is best.

need.py what one session takes, room.py what nodes have left, devices.py and filters.py who refuses it, scorers.py who is
better, placement.py the search, refusals.py the sentence, vitals.py which nodes answer. The scheduler places with it and the
admin API explains with it, so both always agree.
"""
