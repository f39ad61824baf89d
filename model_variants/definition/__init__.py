"""model-definition.yaml: its schema, how it becomes a start command, and the small program that runs its pre-start actions."""
