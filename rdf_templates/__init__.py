"""The YAML and Markdown templates of the exported packages, edited by hand."""
