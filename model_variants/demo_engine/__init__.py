"""The demo engine: a small statistical language model behind OpenAI's HTTP interface. The variant `demo` starts it."""
