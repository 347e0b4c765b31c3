"""The checks that a published repository is put through, one subject a module. What is looked at may be hostile."""
