"""Fakes of the clouds' services: what gives out credentials, and what they are for.

Each is a server on 127.0.0.1 with free ports, started by a fixture of `fixtures.py`. None of them is believed for its
own sake: `test_cloud_*truth.py` run the vendors' own SDKs straight against them.

| module | is |
|---|---|
| `entra` | Microsoft Entra's token endpoint and the managed identity of a virtual machine (IMDS) |
| `google` | Google's token endpoint, metadata server, token exchange and impersonation |
| `aws` | STS, and the endpoint that gives credentials to pods |
| `azure_openai` | Azure OpenAI and Claude on Foundry, in front of the scripted upstream |
| `vertex` | Vertex AI, in front of the scripted upstream |
| `bedrock` | Bedrock's runtime; Claude's own API in front of the scripted upstream, Converse by itself |
| `mantle` | Bedrock's host for the vendors' own APIs, in front of the scripted upstream |
"""
