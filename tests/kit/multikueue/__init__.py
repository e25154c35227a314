"""What tests of several clusters stand on: certificates, kubeconfigs and servers that misbehave."""
