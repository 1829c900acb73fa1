"""The public functions, one module per subject; `import edgesr` offers them."""
