// What a run gives: to files, or in short on the terminal.
#pragma once

#include <string>

#include "mezzo/session.h"

namespace mezzo::cli {

/// Writes every fetched value to `path`: FILE.npz holds them all under their names, FILE.npy the
/// only one, and any other path is a folder that gets a .npy file for each and index.json, which
/// maps names to files. Values that were not computed (in a branch that was not taken) are left
/// out and said on stderr. Throws Error.
void write_outputs(const std::string& path, const Outputs& outputs);

/// A line or two for each value: name, type, shape, range, first elements.
std::string summary(const Outputs& outputs);

}  // namespace mezzo::cli
