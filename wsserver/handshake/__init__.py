"""The way in: upgrade, authentication, origins, hosts, limits and proxies."""
