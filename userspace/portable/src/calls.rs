// SPDX-License-Identifier: GPL-2.0
//! Which functions may stop, and which calls may come back to where they began.

use crate::body::{Body, Step};
use crate::module::Module;

/// What is known of calls within a module.
#[derive(Debug)]
pub struct Calls {
    /// Of each function, whether it has a poll, or calls one that has.
    stops: Vec<bool>,
    /// Of each function, the number of its cycle of calls; functions that can call each other in a
    /// circle have the same.
    cycle: Vec<usize>,
    /// Of each function, whether it can come to be called by itself.
    recursive: Vec<bool>,
    /// Of each type, the functions of it that a table may have.
    by_type: Vec<Vec<u32>>,
}

impl Calls {
    pub fn of(module: &Module<'_>) -> Self {
        let by_type = module
            .types
            .iter()
            .map(|ty| {
                (0..module.functions.len() as u32)
                    .filter(|&function| module.in_table[function as usize])
                    .filter(|&function| module.type_of(function) == Some(ty))
                    .collect()
            })
            .collect();
        let mut calls = Calls {
            stops: vec![false; module.functions.len()],
            cycle: Vec::new(),
            recursive: vec![false; module.functions.len()],
            by_type,
        };
        let edges = calls.edges(module);
        calls.cycle = cycles(&edges);
        for (function, callees) in edges.iter().enumerate() {
            let cycle = calls.cycle[function];
            calls.recursive[function] = callees.iter().any(|&to| calls.cycle[to as usize] == cycle);
        }
        for body in &module.bodies {
            let function = body.index as usize;
            calls.stops[function] = calls.recursive[function] || body.has_loop();
        }
        // Who calls one that may stop may stop.
        let mut changed = true;
        while changed {
            changed = false;
            for (function, callees) in edges.iter().enumerate() {
                if !calls.stops[function] && callees.iter().any(|&to| calls.stops[to as usize]) {
                    calls.stops[function] = true;
                    changed = true;
                }
            }
        }
        calls
    }

    /// Returns of each function those that it may call; of imported ones nothing is known, and a host
    /// that is called must not call the module in its turn.
    fn edges(&self, module: &Module<'_>) -> Vec<Vec<u32>> {
        let mut edges = vec![Vec::new(); module.functions.len()];
        for body in &module.bodies {
            let callees = &mut edges[body.index as usize];
            for instruction in &body.steps {
                callees.extend(self.callees(&instruction.step));
            }
            callees.sort_unstable();
            callees.dedup();
        }
        edges
    }

    /// Returns the functions that a step may call.
    pub fn callees(&self, step: &Step<'_>) -> Vec<u32> {
        match step {
            Step::Call(function) => vec![*function],
            Step::CallIndirect { ty, .. } => {
                self.by_type.get(*ty as usize).cloned().unwrap_or_default()
            }
            _ => Vec::new(),
        }
    }

    /// Returns all functions, each behind those that it calls, but for calls in a circle.
    pub fn callees_first<'m, 'a>(&self, module: &'m Module<'a>) -> Vec<&'m Body<'a>> {
        let mut bodies: Vec<_> = module.bodies.iter().collect();
        bodies.sort_by_key(|body| self.cycle[body.index as usize]);
        bodies
    }

    pub fn stops(&self, function: u32) -> bool {
        self.stops[function as usize]
    }

    /// Returns whether a step is a call of a function that may stop.
    pub fn may_stop(&self, step: &Step<'_>) -> bool {
        self.callees(step)
            .into_iter()
            .any(|callee| self.stops(callee))
    }

    /// Returns whether a call by this function may come back to it.
    pub fn may_recurse(&self, caller: u32, step: &Step<'_>) -> bool {
        let cycle = self.cycle[caller as usize];
        self.callees(step)
            .into_iter()
            .any(|callee| self.cycle[callee as usize] == cycle)
    }
}

/// Returns of each node the number of its strongly connected component (Tarjan's algorithm, with
/// a stack of its own, since calls may be nested deeply). A component has a number above those
/// of all others that it leads to.
fn cycles(edges: &[Vec<u32>]) -> Vec<usize> {
    const NONE: usize = usize::MAX;
    let mut index = vec![NONE; edges.len()];
    let mut low = vec![0; edges.len()];
    let mut component = vec![NONE; edges.len()];
    let mut stack = Vec::new();
    let mut count = 0;
    let mut components = 0;
    for root in 0..edges.len() {
        if index[root] != NONE {
            continue;
        }
        let mut work = vec![(root, 0)];
        while let Some((node, edge)) = work.pop() {
            if edge == 0 {
                index[node] = count;
                low[node] = count;
                count += 1;
                stack.push(node);
            }
            if let Some(&to) = edges[node].get(edge) {
                let to = to as usize;
                work.push((node, edge + 1));
                if index[to] == NONE {
                    work.push((to, 0));
                } else if component[to] == NONE {
                    low[node] = low[node].min(index[to]);
                }
                continue;
            }
            if let Some(&(parent, _)) = work.last() {
                low[parent] = low[parent].min(low[node]);
            }
            if low[node] == index[node] {
                while let Some(member) = stack.pop() {
                    component[member] = components;
                    if member == node {
                        break;
                    }
                }
                components += 1;
            }
        }
    }
    component
}
