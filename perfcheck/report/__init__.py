"""Reports that people read: what a page says is a `Document`; `html`, `markdown` and `pdf` bring it out."""
