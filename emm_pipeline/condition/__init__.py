"""The present condition of the meters and the pipeline: gathers the facts from which `status.decide` decides."""
