"""The present condition of the meters and the pipeline: collects the facts from which `status.decide` decides."""
