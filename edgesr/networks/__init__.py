"""Super-resolution networks: registry, detection, hyper-parameters, re-parameterisation."""
