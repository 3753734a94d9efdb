"""From an audit record and a policy to verdicts a pipeline can act on. Pure; needs no torch."""
