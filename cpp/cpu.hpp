// Instruction sets the kernels are compiled for, and which of them this processor and system can run.
#pragma once

#include <string>
#include <vector>

namespace onnxplain {

enum class Isa { portable, avx2, avx512 };

const char* isa_name(Isa isa) noexcept;

// The sets that can run here, slowest first; always starts with portable. Asked of CPUID once.
const std::vector<Isa>& available_isas();

// The set called `name`; throws std::invalid_argument if it is unknown or cannot run here.
Isa isa_from_name(const std::string& name);

}  // namespace onnxplain
