"""Crypto: sealing for recipients (age), signing (Ed25519) and keyed names of chunks (BLAKE3). Nothing invented here."""
