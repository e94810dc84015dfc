"""The network: features, stages, Dynamic nsNet2, and the bundle that carries a trained one."""
