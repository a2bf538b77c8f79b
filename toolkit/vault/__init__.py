"""The vault: secrets as age files beside the host files, opened with the operator's identity and no other."""
