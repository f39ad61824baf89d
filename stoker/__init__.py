"""Stoker's kernel: the vocabulary that router, scheduler, worker and command line share, and the store they meet in."""

__version__ = "0.1.0"
