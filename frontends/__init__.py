"""The dialects of frameworks, each in a room of its own that imports it: `from gradwise.frontends import optax`."""
