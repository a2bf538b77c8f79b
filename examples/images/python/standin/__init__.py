"""What the examples' applications share: settings, an HTTP server, stores, a worker's loop."""
