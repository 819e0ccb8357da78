// Indices that are out of range, noted for the host.
//
// A kernel that appends this text declares
//
//   faults            array<atomic<u32>, 4>, read_write: the memory of Device::faults
//
// The first one is kept until a read-back has returned it. Of several at once it is any one of them.
//
// twin: crates/runtime/src/device/faults.rs, `note_fault`

fn note_fault(index: u32, bound: u32, operation: u32) {
    if (atomicLoad(&faults[0]) > 0u || atomicAdd(&faults[0], 1u) > 0u) { return; }
    atomicStore(&faults[1], index);
    atomicStore(&faults[2], bound);
    atomicStore(&faults[3], operation);
}
