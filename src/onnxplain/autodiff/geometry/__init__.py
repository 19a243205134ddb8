"""What rules and forms share: windows of kernels, placement of elements, interpolation."""
