"""The paper's experiments (section 4), one file a figure, on the public parts of senn.

Each figure's file has `run` (one seed, as plain numbers), `claims` (what the paper says, checked
over the seeds), `settings`, and `draw`, which makes the figure from the saved numbers alone.
"""
