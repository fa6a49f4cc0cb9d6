//! What stands inside a value of a scanned body.

use super::{
    reader::Reader,
    value::{Kind, Member, Value},
};

impl Value {
    /// Hands on the elements of an array inside a scanned body; none if it is no array.
    pub fn each_element(&self, body: &[u8], each: impl FnMut(Self)) {
        let mut reader = Reader::at(body, self.span.start);
        if matches!(self.kind, Kind::Array { .. }) {
            // The body has been read before, so this cannot fail; if it did, fewer elements would be seen.
            let _ = reader.array(1, each);
        }
    }

    /// The elements of an array inside a scanned body; none if it has more than `most`, no elements if it is no array.
    pub fn elements(&self, body: &[u8], most: usize) -> Option<Vec<Self>> {
        let (mut elements, mut more) = (Vec::new(), false);
        self.each_element(body, |element| {
            if elements.len() < most {
                elements.push(element);
            } else {
                more = true;
            }
        });
        (!more).then_some(elements)
    }

    /// The value of the last member called `name`, of an object.
    pub fn member(&self, body: &[u8], name: &str) -> Option<Self> {
        let [found] = self.named(body, [name]);
        found
    }

    /// The values of the last members of these names, of an object, in one pass.
    pub fn named<const N: usize>(&self, body: &[u8], names: [&str; N]) -> [Option<Self>; N] {
        let mut found = [const { None }; N];
        let mut reader = Reader::at(body, self.span.start);
        if matches!(self.kind, Kind::Object { .. }) {
            let _ = reader.object(1, |member| {
                let place = found.iter_mut().zip(names).find(|(_, name)| member.is(body, name));
                if let Some((place, _)) = place {
                    *place = Some(member.value);
                }
            });
        }
        found
    }

    /// Hands on the value of every member with one of these names, of an object, however often it is repeated.
    pub fn each_named(&self, body: &[u8], names: &[&str], mut each: impl FnMut(Self)) {
        let mut reader = Reader::at(body, self.span.start);
        if matches!(self.kind, Kind::Object { .. }) {
            let _ = reader.object(1, |member| {
                if names.iter().any(|name| member.is(body, name)) {
                    each(member.value);
                }
            });
        }
    }

    /// Hands on every member of an object inside a scanned body; none if it is no object.
    pub fn each_member(&self, body: &[u8], each: impl FnMut(Member)) {
        let mut reader = Reader::at(body, self.span.start);
        if matches!(self.kind, Kind::Object { .. }) {
            let _ = reader.object(1, each);
        }
    }
}
