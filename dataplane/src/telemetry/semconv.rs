//! Names of the OpenTelemetry GenAI semantic conventions (v0.1.0 of their own repository) that depend on the provider.

use routeapi_crds::value::ProviderType;

/// `gen_ai.provider.name`: the conventions' well-known values; `echo` is ours.
pub const fn provider_name(kind: ProviderType) -> &'static str {
    match kind {
        ProviderType::OpenAI => "openai",
        ProviderType::Anthropic => "anthropic",
        ProviderType::Gemini => "gcp.gemini",
        ProviderType::VertexAI => "gcp.vertex_ai",
        ProviderType::AzureOpenAI => "azure.ai.openai",
        ProviderType::Bedrock => "aws.bedrock",
        ProviderType::Echo => "echo",
    }
}
