"""OpenAI's SDK and the responses that an upstream keeps: going on from one, reading, listing, cancelling, deleting."""

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
