//! Reading the fields that matter out of an object of JSON, without a tree of values in between. By hand, because a
//! derive macro would bring more crates than it spares lines.

/// Deserialises a struct from an object. A field that is null or absent keeps its default, one that is not named here is
/// passed over.
macro_rules! object {
    ($object:ident { $($name:literal => $field:ident),* $(,)? }) => {
        impl<'de> serde_core::Deserialize<'de> for $object {
            fn deserialize<D: serde_core::Deserializer<'de>>(
                deserializer: D,
            ) -> std::result::Result<$object, D::Error> {
                use serde_core::de::{IgnoredAny, MapAccess, Visitor};
                use std::fmt;

                #[allow(non_camel_case_types, reason = "named as the fields are")]
                enum Key {
                    $($field,)*
                    _other,
                }

                struct Name;

                impl Visitor<'_> for Name {
                    type Value = Key;

                    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                        f.write_str("the name of a field")
                    }

                    fn visit_str<E>(self, name: &str) -> std::result::Result<Key, E> {
                        Ok(match name {
                            $($name => Key::$field,)*
                            _ => Key::_other,
                        })
                    }
                }

                impl<'de> serde_core::Deserialize<'de> for Key {
                    fn deserialize<D: serde_core::Deserializer<'de>>(
                        deserializer: D,
                    ) -> std::result::Result<Key, D::Error> {
                        deserializer.deserialize_identifier(Name)
                    }
                }

                struct Fields;

                impl<'de> Visitor<'de> for Fields {
                    type Value = $object;

                    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                        f.write_str("an object")
                    }

                    fn visit_map<A: MapAccess<'de>>(
                        self,
                        mut map: A,
                    ) -> std::result::Result<$object, A::Error> {
                        let mut object = $object::default();
                        while let Some(key) = map.next_key()? {
                            match key {
                                $(Key::$field => {
                                    object.$field = map.next_value::<Option<_>>()?.unwrap_or_default();
                                })*
                                Key::_other => drop(map.next_value::<IgnoredAny>()?),
                            }
                        }
                        Ok(object)
                    }
                }

                deserializer.deserialize_map(Fields)
            }
        }
    };
}

pub(super) use object;
