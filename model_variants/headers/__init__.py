"""Readers of what model files say about themselves, each bounded in bytes, time and memory: files may be hostile."""
