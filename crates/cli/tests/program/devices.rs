//! `thalweg devices` and the choice of a device.

use crate::common::{adapters, error_line, stdout, thalweg};

#[test]
fn the_cpu_is_listed_last_and_one_device_is_the_automatic_choice() {
    let listing: serde_json::Value = serde_json::from_str(&stdout(&thalweg(&["devices", "--json"]))).unwrap();
    let devices = listing["devices"].as_array().unwrap();
    assert_eq!(devices.iter().filter(|device| device["auto"] == true).count(), 1);
    let (cpu, gpus) = devices.split_last().unwrap();
    assert_eq!((&cpu["name"], &cpu["index"]), (&"cpu".into(), &serde_json::Value::Null));
    for (index, gpu) in gpus.iter().enumerate() {
        assert_eq!(gpu["index"], index);
        assert!(gpu["max_binding_bytes"].as_u64().unwrap() >= 128 << 20, "{gpu}");
        assert!(["vulkan", "metal", "dx12"].contains(&gpu["backend"].as_str().unwrap()), "{gpu}");
    }
}

#[test]
fn the_table_has_a_line_for_every_device() {
    let table = stdout(&thalweg(&["devices"]));
    let mut lines = table.lines();
    for heading in ["index", "name", "kind", "backend", "driver", "binding MiB", "subgroup", "features"] {
        assert!(table.lines().next().unwrap().contains(heading), "{table}");
    }
    assert_eq!(lines.by_ref().skip(1).take_while(|line| !line.is_empty()).count(), adapters().len() + 1);
    assert!(lines.next().unwrap().starts_with('*'), "{table}");
}

#[test]
fn an_unknown_device_is_refused_with_those_that_exist() {
    for choice in ["no such device", "4096"] {
        let line = error_line(&thalweg(&["bench", "optim", "--quick", "--device", choice]), 2);
        assert!(line.contains("--device") && line.contains(choice), "{line}");
        for adapter in adapters() {
            assert!(line.contains(adapter["name"].as_str().unwrap()), "{line}");
        }
    }
}
