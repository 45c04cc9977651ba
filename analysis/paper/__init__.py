"""The paper's tables and claims."""
