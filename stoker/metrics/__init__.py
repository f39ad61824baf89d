"""The platform's figures for Prometheus: which there are, how they are kept, and the page that shows those of the cluster."""
