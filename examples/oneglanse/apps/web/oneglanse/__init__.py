"""Oneglanse: what happens on sites, counted in ClickHouse, and an agent that looks at them."""
