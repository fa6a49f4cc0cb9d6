"""OpenAI's SDK and what an upstream keeps: responses and conversations, going on from one, reading, listing, deleting."""

import pytest

import drivers
import gateway as gateways

openai = drivers.openai


@pytest.fixture(params=["via-openai", "via-responses"])
def model(request):
    return request.param


@pytest.fixture
def client(upstream, gateway):
    with openai.OpenAI(base_url=gateway.url + "/v1", api_key=gateways.TOKEN, max_retries=0) as made:
        yield made


def test_a_conversation_by_ids(client, model, upstream):
    first = client.responses.create(model=model, input="one")
    with client.responses.stream(model=model, input="two", previous_response_id=first.id) as events:
        second = events.get_final_response()
    assert second.id != first.id and second.output_text == "You said: two"
    third = client.responses.create(model=model, input="three", previous_response_id=second.id)
    assert third.previous_response_id == second.id
    counted = client.responses.input_tokens.count(model=model, input="four", previous_response_id=third.id)
    assert counted.input_tokens > 0


def test_a_response_is_read_listed_cancelled_and_deleted(client, model):
    made = client.responses.create(model=model, input="keep this")
    assert client.responses.retrieve(made.id).output_text == made.output_text
    [item] = client.responses.input_items.list(made.id, limit=5)
    assert item.content[0].text == "keep this"
    assert client.responses.cancel(made.id).status == "cancelled"
    client.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.id)


def test_a_stream_is_read_again(client, model):
    with client.responses.stream(model=model, input="one two three") as events:
        seen = list(events)
        made = events.get_final_response()
    again = list(client.responses.retrieve(made.id, stream=True, starting_after=seen[1].sequence_number))
    assert [event.sequence_number for event in again] == [event.sequence_number for event in seen[2:]]
    assert again[-1].response.id == made.id


def test_an_unknown_id_is_what_the_sdk_expects(client, model):
    with pytest.raises(openai.BadRequestError) as raised:
        client.responses.create(model=model, input="x", previous_response_id="resp_1")
    assert (raised.value.param, raised.value.code) == ("previous_response_id", "previous_response_not_found")
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve("resp_1")


def test_a_conversation_is_made_gone_on_in_listed_and_deleted(client, model):
    made = client.conversations.create(
        metadata={"topic": "demo"},
        items=[{"type": "message", "role": "user", "content": "hello"}],
        extra_query={"model": model},
    )
    first = client.responses.create(model=model, input="one", conversation=made.id)
    assert first.conversation.id == made.id
    with client.responses.stream(model=model, input="two", conversation={"id": made.id}) as events:
        assert events.get_final_response().output_text == "You said: two"
    items = list(client.conversations.items.list(made.id))
    assert len(items) == 5
    assert client.conversations.items.retrieve(items[0].id, conversation_id=made.id).id == items[0].id
    added = client.conversations.items.create(
        made.id, items=[{"type": "message", "role": "user", "content": "three"}]
    )
    assert added.data[0].content[0].text == "three"
    assert client.conversations.items.delete(items[0].id, conversation_id=made.id).id == made.id
    assert client.conversations.update(made.id, metadata={"topic": "done"}).metadata == {"topic": "done"}
    assert client.conversations.retrieve(made.id).id == made.id
    assert client.conversations.delete(made.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.conversations.retrieve(made.id)


def test_where_several_providers_could_keep_it_the_sdk_is_told_how_to_say_which(client):
    with pytest.raises(openai.BadRequestError, match="conversations.model=MODEL"):
        client.conversations.create()
