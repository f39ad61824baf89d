"""`stoker up`: one small process that keeps a store, a router, a scheduler and workers running on this machine."""
