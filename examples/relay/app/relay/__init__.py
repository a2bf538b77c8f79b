"""Relay: an API that accepts messages, workers that send them, and a page that shows them."""
