use super::*;

fn call(path: &str, query: Option<&str>) -> MatchedPath {
    match route("POST", path, query) {
        Ok(Inbound::Call(matched)) => matched,
        other => panic!("{path}: {other:?}"),
    }
}

#[test]
fn every_base_url_leads_to_the_same_call() {
    let cases = [
        (Operation::ChatCompletions, &["/chat/completions", "/v1/chat/completions", "//v1/chat/completions/"][..]),
        (Operation::Responses, &["/responses", "/v1/responses"]),
        (Operation::ResponsesInputTokens, &["/responses/input_tokens", "/v1/responses/input_tokens"]),
        (Operation::Embeddings, &["/embeddings", "/v1/embeddings"]),
        (Operation::Messages, &["/v1/messages", "/v1/v1/messages", "/messages"]),
        (Operation::Direct(Direct::Completions), &["/completions", "/v1/completions", "/api/v1/completions"]),
        (Operation::Direct(Direct::Rerank), &["/rerank", "/v1/rerank", "/v2/rerank", "/v1/v2/rerank"]),
        (Operation::Direct(Direct::Speech), &["/v1/audio/speech", "/openai/v1/audio/speech"]),
        (Operation::MessagesCountTokens, &["/v1/messages/count_tokens", "/v1/v1/messages/count_tokens"]),
    ];
    for (operation, paths) in cases {
        for path in paths {
            assert_eq!(call(path, None).operation, operation, "{path}");
        }
    }
}

#[test]
fn gemini_paths_name_model_and_framing() {
    for prefix in ["/v1beta", "/v1", "/v1beta/v1beta", "/v1/v1beta", "/v1beta/v1", "/v1/v1", ""] {
        let whole = call(&format!("{prefix}/models/gemini-x:generateContent"), None);
        assert_eq!((whole.operation, whole.model.as_deref()), (Operation::GenerateContent, Some("gemini-x")));
        assert_eq!(whole.framing, Some(Framing::Whole));
    }
    let stream = |query| call("/v1beta/models/m:streamGenerateContent", query).framing;
    assert_eq!(stream(Some("alt=sse&key=sk-1")), Some(Framing::Sse));
    assert_eq!(stream(Some("key=sk-1")), Some(Framing::JsonArray));
    assert_eq!(call("/v1beta/models/m:batchEmbedContents", None).operation, Operation::BatchEmbedContents);
    assert_eq!(call("/v1beta/models/m:embedContent", None).operation, Operation::EmbedContent);
    assert_eq!(call("/v1beta/models/m:countTokens", None).operation, Operation::CountTokens);
}

#[test]
fn models_split_at_the_last_colon_and_decode_once() {
    let model = |path| call(path, None).model.unwrap_or_default();
    assert_eq!(model("/v1beta/models/org%2Fname:tag:generateContent"), "org/name:tag");
    assert_eq!(model("/v1beta/models/a%252Fb:generateContent"), "a%2Fb");
    assert_eq!(model("/v1beta/models/bad%zz:generateContent"), "bad%zz");
    assert_eq!(model("/v1beta/tunedModels/mine:generateContent"), "tunedModels/mine");
    assert_eq!(model("/v1/projects/p/locations/l/publishers/google/models/m:generateContent"), "m");
}

#[test]
fn of_a_query_only_what_is_known_goes_on() {
    let sorted = |path: &str, query: &str| {
        let matched = call(path, Some(query));
        (matched.query, matched.unknown_query)
    };
    assert_eq!(sorted("/v1/messages", "beta=true"), (Some("beta=true"), false));
    assert_eq!(sorted("/v1/messages/count_tokens", "a=b&beta=true"), (Some("beta=true"), true));
    assert_eq!(sorted("/v1/messages", "beta=true%26x=1"), (None, true));
    assert_eq!(sorted("/v1/chat/completions", "beta=true"), (None, true));
    let gemini = |query: &str| sorted("/v1beta/models/m:streamGenerateContent", query);
    assert_eq!(gemini("key=sk-1&alt=sse&k%65y=sk-2&%24alt=json"), (None, false));
    for name in [
        "$httpMethod",
        "%24httpMethod",
        "callback",
        "userProject",
        "$userProject",
        "%24key",
        "$key",
        "access_token",
        "oauth_token",
        "upload_protocol",
        "uploadType",
        "fields",
        "$fields",
        "quotaUser",
        "prettyPrint",
        "$.xgafv",
    ] {
        assert_eq!(gemini(&format!("alt=sse&{name}=x")), (None, true), "{name}");
    }
}

#[test]
fn lists_probes_and_refusals() {
    assert_eq!(route("GET", "/v1/models", Some("limit=1000")), Ok(Inbound::ListModels(ModelList::Shared)));
    assert_eq!(route("GET", "/models", None), Ok(Inbound::ListModels(ModelList::Shared)));
    assert_eq!(route("GET", "/v1/v1/models", None), Ok(Inbound::ListModels(ModelList::Anthropic)));
    assert_eq!(route("GET", "/v1beta/models", None), Ok(Inbound::ListModels(ModelList::Gemini)));
    assert_eq!(route("GET", "/v1/models", Some("pageSize=5")), Ok(Inbound::ListModels(ModelList::Gemini)));
    assert_eq!(ModelList::Shared.with_headers(true, false), ModelList::Anthropic);
    let one = Inbound::GetModel { list: ModelList::Shared, id: "org/m:1".into() };
    assert_eq!(route("GET", "/v1/models/org%2Fm:1", None), Ok(one));
    for path in ["/", "", "/v1", "/v1beta/"] {
        assert_eq!(route("HEAD", path, None), Ok(Inbound::Probe), "{path}");
    }
    let not_post = NoSuchPath::MethodNotAllowed { family: Family::Anthropic, allow: "POST" };
    assert_eq!(route("GET", "/v1/messages", None), Err(not_post));
    assert_eq!(route("GET", "/v1/nothing", None), Err(NoSuchPath::NotFound { family: Family::OpenAi, meant: None }));
    assert_eq!(
        route("POST", "/v1beta/nothing", None),
        Err(NoSuchPath::NotFound { family: Family::Gemini, meant: None })
    );
    let family = |path: &str| match route("GET", path, None) {
        Err(NoSuchPath::NotServed { family, .. }) => family,
        other => panic!("{path}: {other:?}"),
    };
    assert_eq!(family("/v1/messages/batches"), Family::Anthropic);
    assert_eq!(family("/v1/files/f"), Family::OpenAi);
    assert_eq!(family("/v1beta/files"), Family::Gemini);
}

#[test]
fn base_urls_of_other_gateways_and_vendors_lead_to_the_same_call() {
    for (path, operation) in [
        ("/openai/v1/chat/completions", Operation::ChatCompletions),
        ("/openai/chat/completions", Operation::ChatCompletions),
        ("/api/v1/chat/completions/", Operation::ChatCompletions),
        ("/api/chat/completions", Operation::ChatCompletions),
        ("/cursor/chat/completions", Operation::ChatCompletions),
        ("/v1beta/openai/chat/completions", Operation::ChatCompletions),
        ("/openai/responses", Operation::Responses),
        ("/openai/v1/embeddings", Operation::Embeddings),
        ("/anthropic/v1/messages", Operation::Messages),
        ("/anthropic/v1/messages/count_tokens", Operation::MessagesCountTokens),
        ("/api/anthropic/v1/messages", Operation::Messages),
        ("/gemini/v1beta/models/m:generateContent", Operation::GenerateContent),
        ("/genai/v1beta/models/m:countTokens", Operation::CountTokens),
    ] {
        assert_eq!(call(path, None).operation, operation, "{path}");
    }
    let models = |path| route("GET", path, None);
    assert_eq!(models("/openai/v1/models"), Ok(Inbound::ListModels(ModelList::OpenAi)));
    assert_eq!(ModelList::OpenAi.with_headers(true, true), ModelList::OpenAi, "the base says whose list is meant");
    assert_eq!(models("/v1beta/openai/models"), Ok(Inbound::ListModels(ModelList::OpenAi)));
    assert_eq!(models("/anthropic/v1/models"), Ok(Inbound::ListModels(ModelList::Anthropic)));
    assert_eq!(models("/gemini/v1beta/models"), Ok(Inbound::ListModels(ModelList::Gemini)));
    assert_eq!(models("/api/v1/models"), Ok(Inbound::ListModels(ModelList::Shared)));
}

#[test]
fn azures_deployments_are_model_ids() {
    let named = |path, query| {
        let matched = call(path, query);
        (matched.operation, matched.model.unwrap_or_default(), matched.unknown_query)
    };
    let version = Some("api-version=2024-10-21");
    for (path, operation, model) in [
        ("/openai/deployments/gpt-x/chat/completions", Operation::ChatCompletions, "gpt-x"),
        ("/v1/openai/deployments/gpt-x/embeddings/", Operation::Embeddings, "gpt-x"),
        ("/openai/deployments/org/model/chat/completions", Operation::ChatCompletions, "org/model"),
        ("/openai/deployments/org%2Fmodel/chat/completions", Operation::ChatCompletions, "org/model"),
        ("/openai/deployments/gpt-image/images/generations", Operation::Direct(Direct::ImageGenerations), "gpt-image"),
        ("/openai/deployments/m/completions", Operation::Direct(Direct::Completions), "m"),
        ("/openai/deployments/m/responses/input_tokens", Operation::ResponsesInputTokens, "m"),
    ] {
        assert_eq!(named(path, version), (operation, model.to_owned(), false), "{path}");
    }
    for path in ["/openai/deployments", "/openai/deployments/m", "/openai/deployments//chat/completions"] {
        assert!(matches!(route("POST", path, version), Err(NoSuchPath::NotFound { .. })), "{path}");
    }
    assert!(matches!(route("POST", "/openai/deployments/m/messages", None), Err(NoSuchPath::NotFound { .. })));
}

#[test]
fn health_is_asked_under_every_usual_name() {
    for path in ["/health", "/healthz", "/ping", "/v1/health", "/health/", "/health/liveliness", "/health/readiness"] {
        for method in ["GET", "HEAD"] {
            assert_eq!(route(method, path, Some("x=1")), Ok(Inbound::Health), "{method} {path}");
        }
        let refused = route("POST", path, None);
        assert!(matches!(refused, Err(NoSuchPath::MethodNotAllowed { allow: "GET, HEAD", .. })), "{path}");
    }
    assert!(matches!(route("GET", "/health/other", None), Err(NoSuchPath::NotFound { .. })));
}

#[test]
fn a_base_url_that_is_not_understood_is_told_the_right_path() {
    for (path, path_meant) in [
        ("/proxy/v1/chat/completions", Some("/v1/chat/completions")),
        ("/v1/chat/completions/chat/completions", Some("/v1/chat/completions")),
        ("/v1/messages/v1/messages", Some("/v1/messages")),
        ("/v2/embeddings", Some("/v1/embeddings")),
        ("/nothing", None),
    ] {
        let Err(NoSuchPath::NotFound { meant, .. }) = route("POST", path, None) else { panic!("{path}") };
        assert_eq!(meant, path_meant, "{path}");
    }
}

#[test]
fn a_plain_path_below_v1_may_mean_something_to_an_upstream() {
    for (path, below) in [("/v1/ocr", "/ocr"), ("/api/v1/fim/completion", "/fim/completion"), ("/openai/v1/x/", "/x")] {
        let matched = call(path, Some("a=b"));
        assert_eq!((matched.operation, matched.path.as_deref()), (Operation::Direct(Direct::Unlisted), Some(below)));
        assert!(matched.unknown_query, "no parameter goes on");
    }
    for path in [
        "/ocr",
        "/v1beta/ocr",
        "/v1/v1/ocr",
        "/anthropic/v1/ocr",
        "/v1/messages/x",
        "/v1/a/../b",
        "/v1/a%2fb",
        "/v1/a//b",
    ] {
        assert!(matches!(route("POST", path, None), Err(NoSuchPath::NotFound { .. })), "{path}");
    }
    assert!(matches!(route("PUT", "/v1/ocr", None), Err(NoSuchPath::NotFound { .. })));
    assert!(matches!(route("POST", "/v1/files", None), Err(NoSuchPath::NotServed { .. })));
}

#[test]
fn a_session_is_opened_by_get_and_names_its_model_in_the_query() {
    let session = |path: &str, query| match route("GET", path, query) {
        Ok(Inbound::Session(endpoint)) => (endpoint.model, endpoint.unknown_query),
        other => panic!("{path}: {other:?}"),
    };
    let named = |model: &str, unknown| (Some(model.to_owned()), unknown);
    for path in ["/v1/realtime", "/realtime", "/openai/v1/realtime", "/api/v1/realtime/", "/openai/realtime"] {
        assert_eq!(session(path, Some("model=org%2Fm")), named("org/m", false), "{path}");
        assert!(matches!(route("POST", path, None), Err(NoSuchPath::MethodNotAllowed { allow: "GET", .. })), "{path}");
    }
    assert_eq!(session("/openai/realtime", Some("api-version=1&deployment=d")), named("d", false));
    assert_eq!(session("/openai/deployments/a/b/realtime", Some("api-version=1")), named("a/b", false));
    assert_eq!(session("/v1/realtime", Some("call_id=c&model=m")), named("m", true));
    assert_eq!(session("/v1/realtime", Some("model=&api-version=1")), (None, false));
}

#[test]
fn hard_cases_239_and_240_bedrocks_paths_name_model_and_framing() {
    const PROFILE: &str = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc";
    let rows = [
        ("/model/anthropic.claude-3-5-sonnet-20240620-v1%3A0/converse", "anthropic.claude-3-5-sonnet-20240620-v1:0"),
        ("/model/anthropic.claude-3-5-sonnet-20240620-v1:0/converse", "anthropic.claude-3-5-sonnet-20240620-v1:0"),
        (
            "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Aapplication-inference-profile%2Fabc/converse",
            PROFILE,
        ),
        ("/model/arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc/converse", PROFILE),
        ("/bedrock/model/m/converse", "m"),
        ("/model/converse/converse", "converse"),
        // Decoded once.
        ("/model/a%253Ab/converse", "a%3Ab"),
    ];
    for (path, model) in rows {
        for (suffix, operation, framing) in
            [("", Operation::Converse, Framing::Whole), ("-stream", Operation::Converse, Framing::EventStream)]
        {
            let path = format!("{path}{suffix}");
            let Ok(Inbound::Call(matched)) = route("POST", &path, None) else { panic!("{path}") };
            assert_eq!((matched.operation, matched.framing), (operation, Some(framing)), "{path}");
            assert_eq!(matched.model.as_deref(), Some(model), "{path}");
        }
    }
    let Ok(Inbound::Call(counting)) = route("POST", "/model/m/count-tokens", None) else { panic!() };
    assert_eq!(counting.operation, Operation::ConverseCountTokens);
    let wrong = route("GET", "/model/m/converse", None);
    assert_eq!(wrong, Err(NoSuchPath::MethodNotAllowed { family: Family::Bedrock, allow: "POST" }));
}

#[test]
fn what_bedrock_invokes_is_not_served_and_says_why() {
    for action in ["invoke", "invoke-with-response-stream", "invoke-with-bidirectional-stream"] {
        let Err(NoSuchPath::NotServed { family, unserved }) = route("POST", &format!("/model/m/{action}"), None) else {
            panic!("{action}")
        };
        assert_eq!(family, Family::Bedrock);
        assert!(unserved.why.contains("/converse"), "{}", unserved.why);
    }
    for path in ["/model/m/other", "/model//converse", "/model/converse"] {
        let missing = route("POST", path, None);
        assert!(matches!(missing, Err(NoSuchPath::NotFound { family: Family::Bedrock, .. })), "{path} {missing:?}");
    }
}
