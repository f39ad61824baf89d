"""The daemon of one node: it starts, watches and stops sessions, and has the last word on what its devices and ports are used for."""
