"""A model variant for Stoker, and the engine that it starts."""
