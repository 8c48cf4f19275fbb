"""Studies on the public parts of senn: the paper's figures (section 4), and what it leaves open.

Each figure's file has `run` (one seed, as plain numbers), `claims` (what the paper says, checked
over the seeds), `settings`, and `draw`, which makes the figure from the saved numbers alone.
"""
