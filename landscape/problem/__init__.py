"""What a surface is computed of: any `torch.nn.Module`, its samples and its metrics."""
