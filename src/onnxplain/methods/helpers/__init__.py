"""What several methods share: points, paths, baselines, perturbed inputs, maps of inner layers."""
