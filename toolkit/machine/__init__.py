"""Machine: what a converged host has. Each module holds the facts and the operations of one subject."""
