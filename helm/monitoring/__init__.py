"""What watches a deployment: alert rules and dashboards, made from data and checked against the metric registry."""
