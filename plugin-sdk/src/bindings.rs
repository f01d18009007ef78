//! Code generated from the WIT text, one module for each world. The two worlds are features because a component may
//! export one only, and the generator records the world in a section of the linked module.

#![allow(missing_docs, unreachable_pub, clippy::all)]

#[cfg(feature = "chip")]
pub mod chip {
    wit_bindgen::generate!({
        path: "wit/since_v0.1.0",
        world: "device-plugin",
        pub_export_macro: true,
        default_bindings_module: "sunmao_plugin_sdk::__chip_bindings",
        additional_derives: [PartialEq, Clone],
    });
}

#[cfg(feature = "importer")]
pub mod importer {
    wit_bindgen::generate!({
        path: "wit/since_v0.1.0",
        world: "importer-plugin",
        pub_export_macro: true,
        default_bindings_module: "sunmao_plugin_sdk::__importer_bindings",
        additional_derives: [PartialEq, Clone],
    });
}
