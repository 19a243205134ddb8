"""Inner tensors that methods look at: feature maps and attention maps."""
