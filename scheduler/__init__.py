"""Decides what should run where: snapshot, reconcile, placement, commit. One of several leads."""
