//! The tape as a Graphviz graph.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::Tape;
use crate::tape::Node;

/// An operation on a tape: see [`Tape::operations`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Operation {
    /// Its name.
    pub name: &'static str,
    /// The path of its module ([`Tape::scope`]).
    pub path: Option<String>,
    /// The shape of its result.
    pub shape: Vec<usize>,
    /// The shapes of its inputs.
    pub inputs: Vec<Vec<usize>>,
}

impl Tape {
    /// Returns the recorded operations in their order, without inputs, constants and parameters.
    ///
    /// ```
    /// use thalweg_autograd::Tape;
    /// use thalweg_tensor::{Device, Tensor};
    /// # fn main() -> thalweg_autograd::Result<()> {
    /// let tape = Tape::inference();
    /// let x = tape.input(&Tensor::from_slice(&Device::cpu(), &[1.0, 2.0, 3.0], &[3])?);
    /// x.exp()?.sum()?;
    /// let operations = tape.operations();
    /// assert_eq!((operations[1].name, &operations[1].inputs), ("sum", &vec![vec![3]]));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn operations(&self) -> Vec<Operation> {
        let nodes = self.nodes.borrow();
        let operation = |node: &Node| Operation {
            name: node.op,
            path: node.origin.path.as_deref().map(str::to_string),
            shape: node.shape().to_vec(),
            inputs: node.inputs.iter().map(|&input| nodes[input].shape().to_vec()).collect(),
        };
        nodes.iter().filter(|node| !node.inputs.is_empty()).map(operation).collect()
    }

    /// Returns the recorded operations as a graph for Graphviz: a box for each operation with its name and its shape,
    /// an ellipse for each input, constant and parameter, and a frame around the operations of each module
    /// ([`scope`](Self::scope)). Nodes without gradients are dashed.
    ///
    /// `dot -Tsvg` draws it. Values freed by a backward pass keep their shapes.
    ///
    /// ```
    /// use thalweg_autograd::Tape;
    /// use thalweg_tensor::{Device, Tensor};
    /// # fn main() -> thalweg_autograd::Result<()> {
    /// let tape = Tape::new();
    /// let x = tape.input(&Tensor::from_slice(&Device::cpu(), &[1.0, 2.0, 3.0], &[3])?);
    /// x.sum()?;
    /// assert!(tape.to_dot().contains("n1 [label=\"sum\\n[]\"];"));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn to_dot(&self) -> String {
        let nodes = self.nodes.borrow();
        let mut modules: BTreeMap<Option<&str>, Vec<usize>> = BTreeMap::new();
        for (i, node) in nodes.iter().enumerate() {
            modules.entry(node.origin.path.as_deref()).or_default().push(i);
        }
        let mut text = "digraph tape {\n  node [shape=box, fontname=\"sans-serif\"];\n".to_string();
        for &i in modules.get(&None).into_iter().flatten() {
            statement(&mut text, 1, i, &nodes[i]);
        }
        let paths: Vec<&str> = modules.keys().copied().flatten().collect();
        let outer = paths.iter().filter(|path| around(&paths, path).is_none());
        outer.for_each(|path| cluster(&mut text, 1, path, &paths, &modules, &nodes));
        for (i, node) in nodes.iter().enumerate() {
            for input in &node.inputs {
                // Writing to a string does not fail.
                let _ = writeln!(text, "  n{input} -> n{i};");
            }
        }
        text + "}\n"
    }
}

/// Returns the innermost module that contains a module.
fn around<'a>(paths: &[&'a str], path: &str) -> Option<&'a str> {
    let is_around = |other: &&&str| path.strip_prefix(**other).is_some_and(|rest| rest.starts_with('.'));
    paths.iter().filter(is_around).max_by_key(|other| other.len()).copied()
}

fn cluster(
    text: &mut String,
    depth: usize,
    path: &str,
    paths: &[&str],
    modules: &BTreeMap<Option<&str>, Vec<usize>>,
    nodes: &[Node],
) {
    let indent = "  ".repeat(depth);
    let _ = writeln!(text, "{indent}subgraph \"cluster_{0}\" {{\n{indent}  label=\"{0}\";", escaped(path));
    for &i in modules.get(&Some(path)).into_iter().flatten() {
        statement(text, depth + 1, i, &nodes[i]);
    }
    let inner = paths.iter().filter(|inner| around(paths, inner) == Some(path));
    inner.for_each(|inner| cluster(text, depth + 1, inner, paths, modules, nodes));
    let _ = writeln!(text, "{indent}}}");
}

fn statement(text: &mut String, depth: usize, i: usize, node: &Node) {
    let name = node.parameter.as_ref().map_or(node.op, |parameter| parameter.name());
    let shape = if node.inputs.is_empty() { ", shape=ellipse" } else { "" };
    let style = if node.tracked { "" } else { ", style=dashed" };
    let label = format!("{}\\n{:?}", escaped(name), node.shape());
    let _ = writeln!(text, "{}n{i} [label=\"{label}\"{shape}{style}];", "  ".repeat(depth));
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Parameter;
    use thalweg_tensor::{DType, Device, Tensor};

    #[test]
    fn a_tape_is_a_graph_with_a_frame_for_each_module() {
        let device = Device::cpu();
        let zeros = |shape: &[usize]| Tensor::zeros(&device, DType::F32, shape).unwrap();
        let weight = Parameter::declare("net.0.\"w\"", &[3, 2]);
        weight.bind(zeros(&[3, 2]), zeros(&[3, 2])).unwrap();
        let tape = Tape::new();
        let x = tape.constant(&zeros(&[4, 3]));
        let net = tape.scope("net");
        let y = {
            let _layer = tape.scope("net.0");
            x.matmul(tape.parameter(&weight).unwrap()).unwrap()
        };
        let y = y.softmax(-1).unwrap();
        drop(net);
        let loss = y.sum().unwrap();
        let expected = r#"digraph tape {
  node [shape=box, fontname="sans-serif"];
  n0 [label="constant\n[4, 3]", shape=ellipse, style=dashed];
  n4 [label="sum\n[]"];
  subgraph "cluster_net" {
    label="net";
    n3 [label="softmax\n[4, 2]"];
    subgraph "cluster_net.0" {
      label="net.0";
      n1 [label="net.0.\"w\"\n[3, 2]", shape=ellipse];
      n2 [label="matmul\n[4, 2]"];
    }
  }
  n0 -> n2;
  n1 -> n2;
  n2 -> n3;
  n3 -> n4;
}
"#;
        assert_eq!(tape.to_dot(), expected);
        // The graph is the same after a backward pass has freed the values.
        tape.backward_and_free(loss).unwrap();
        assert_eq!(tape.to_dot(), expected);
    }

    #[test]
    fn a_tape_without_tracking_is_a_graph_too() {
        let tape = Tape::inference();
        let x = tape.input(&Tensor::scalar(&Device::cpu(), 1f32).unwrap());
        x.sum().unwrap();
        assert!(tape.to_dot().contains("  n0 -> n"), "{}", tape.to_dot());
    }
}
