"""The present condition of meters and pipeline: gathers what is known for `status.decide`, and reads nothing else."""
